select c.order_id as subject, 'answered OK, and in no intake' as detail, c.order_id
from call c
where c.op = 'place' and c.outcome = 'ok' and c.order_id is not null
  and not exists (select 1 from intake i where i.order_id = c.order_id)
union all
select i.order_id, 'taken in, and never said', i.order_id
from intake i
where not exists (select 1 from event e where e.order_id = i.order_id and e.kind = 'OrderPlaced')
  and i.order_id not in (select order_id from base_order)
union all
select t.order_id, 'heard by orders, and not among them', t.order_id
from taken t
where t.taker = 'orders' and t.kind = 'OrderPlaced'
  and not exists (select 1 from orders o where o.order_id = t.order_id)
