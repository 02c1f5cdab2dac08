select order_id as subject, 'charged ' || charged || ', refunded ' || refunded as detail, order_id
from money where refunded > charged and order_id not in (select order_id from base_order)
union all
select order_id, count(*) || ' refunds under ' || reference, order_id
from attempt where kind = 'refund' and effect
group by reference having count(*) > 1
