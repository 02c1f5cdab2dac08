select l.taker || ' of ' || b.role || '/' || b.partition || ' after ' || coalesce(m.number, 0) as subject,
    count(*) || ' batches that were said long ago' as detail, null as order_id
from listens l join batch b on b.role = l.source
left join inbox_mark m on m.role = l.taker and m.source = b.role and m.incarnation = b.incarnation
    and m.partition = b.partition
where b.time_us < (select value from known where name = 'old_us')
  and (b.number is null or b.number > coalesce(m.number, 0))
group by l.taker, b.role, b.incarnation, b.partition
