select a.order_id as subject, 'charged, and its stock was never held' as detail, a.order_id
from attempt a
where a.kind = 'charge' and a.effect and a.look = 0 and a.order_id is not null
  and a.order_id not in (select order_id from base_order)
  and not exists (select 1 from event e where e.order_id = a.order_id and e.kind = 'StockHeld')
