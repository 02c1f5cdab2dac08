select 'message ' || s.seq || ' of ' || s.stream as subject,
    case when s.number is null then 'it has no number'
        when b.id is null then s.role || ' never said number ' || s.number
        else 'it is not what ' || s.role || ' said as number ' || s.number end as detail, null as order_id
from stream_message s left join batch b on b.role = s.role and b.incarnation = s.incarnation
    and b.partition = s.partition and b.number = s.number
where (b.id is null or b.body_sha <> s.body_sha)
  and not exists (select 1 from base_number n where n.role = s.role and n.incarnation = s.incarnation
      and n.partition = s.partition and s.number <= n.number)
union all
select 'event ' || lower(hex(event_id)), 'it was said ' || count(*) || ' times', min(order_id)
from event group by event_id having count(*) > 1
union all
select m.ledger || ' of ' || m.source || '/' || m.partition,
    'it has heard number ' || m.number || ', and only ' || coalesce(h.number, 0) || ' were said', null
from inbox_mark m left join head h on h.role = m.source and h.incarnation = m.incarnation and h.partition = m.partition
where m.number > coalesce(h.number, 0)
