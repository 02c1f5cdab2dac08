select b.ledger || '/' || b.partition || ' number ' || b.number as subject,
    'audit has heard it, and it is in no entry' as detail, null as order_id
from batch b join inbox_mark m on m.role = 'audit' and m.source = b.role and m.incarnation = b.incarnation
    and m.partition = b.partition and b.number <= m.number
where not exists (select 1 from entry e where e.source = b.role and e.incarnation = b.incarnation
        and e.partition = b.partition and e.number = b.number)
  and not exists (select 1 from dead_letter d where d.role = 'audit' and d.source = b.role
        and d.incarnation = b.incarnation and d.partition = b.partition and d.number = b.number)
union all
select e.ledger || ' entry ' || e.position,
    case when b.id is null then e.source || ' never said number ' || e.number
        else 'it is not what ' || e.source || ' said as number ' || e.number end, null
from entry e left join batch b on b.role = e.source and b.incarnation = e.incarnation and b.partition = e.partition
    and b.number = e.number
where b.id is null or b.events_sha <> e.events_sha
union all
select source || '/' || partition || ' number ' || number, count(*) || ' entries', null
from entry group by source, incarnation, partition, number having count(*) > 1
