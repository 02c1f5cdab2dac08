select order_id as subject, charges || ' charges' as detail, order_id
from money where charges > 1 and order_id is not null
union all
select a.order_id, 'charged after it was settled', a.order_id
from attempt a join base_order b on b.order_id = a.order_id
where a.kind = 'charge' and a.effect
