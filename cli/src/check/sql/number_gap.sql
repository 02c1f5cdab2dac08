with line as (
    select b.ledger, b.role, b.incarnation, b.partition, count(*) as batches, count(distinct b.number) as numbers,
        min(b.number) as first, max(b.number) as last, coalesce(n.number, 0) as base
    from batch b left join base_number n on n.role = b.role and n.incarnation = b.incarnation
        and n.partition = b.partition
    where b.number is not null and b.number > coalesce(n.number, 0)
    group by b.ledger, b.incarnation, b.partition)
select ledger || '/' || partition as subject,
    batches || ' batches, ' || numbers || ' numbers from ' || first || ' to ' || last as detail, null as order_id
from line where first <> base + 1 or last - first + 1 <> batches or numbers <> batches
union all
select h.ledger || '/' || h.partition, 'the head is ' || h.number || ', the last batch ' || coalesce(l.last, n.number, 0),
    null
from head h
left join line l on l.ledger = h.ledger and l.incarnation = h.incarnation and l.partition = h.partition
left join base_number n on n.role = h.role and n.incarnation = h.incarnation and n.partition = h.partition
where h.number > coalesce(l.last, n.number, 0)
