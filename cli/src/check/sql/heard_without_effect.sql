select t.order_id as subject, t.kind || ' was heard by orders and is not in its history' as detail, t.order_id
from taken t
where t.taker = 'orders' and t.kind in (select kind from hears where taker = 'orders')
  and not exists (select 1 from history h where h.event_id = t.event_id)
union all
select t.order_id, 'OrderPlaced was heard by inventory, and it has no hold', t.order_id
from taken t
where t.taker = 'inventory' and t.kind = 'OrderPlaced'
  and not exists (select 1 from hold h where h.order_id = t.order_id)
union all
select t.order_id, t.kind || ' was heard by payments, and it has no payment', t.order_id
from taken t
where t.taker = 'payments' and t.kind in (select kind from hears where taker = 'payments')
  and not exists (select 1 from payment p where p.order_id = t.order_id)
