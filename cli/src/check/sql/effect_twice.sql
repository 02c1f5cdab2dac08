select order_id as subject, min(kind) || ' is in its history ' || count(*) || ' times' as detail, order_id
from history group by order_id, event_id having count(*) > 1
union all
select order_id, kind || ' was said ' || count(*) || ' times', order_id
from event
where kind in ('OrderPlaced', 'StockHeld', 'StockRefused', 'StockCommitted', 'StockReleased', 'PaymentCaptured',
    'PaymentDeclined', 'OrderConfirmed', 'OrderRejected', 'OrderCancelled')
group by order_id, kind having count(*) > 1
union all
select order_id, kind || ' was said ' || count(*) || ' times of ' || reference, order_id
from event where kind in ('PaymentRefunded', 'NotificationSent', 'NotificationFailed')
group by order_id, kind, reference having count(*) > 1
union all
select e.order_id, e.kind || ' was said after it was settled', e.order_id
from event e join base_order b on b.order_id = e.order_id
where e.kind in ('OrderPlaced', 'StockHeld', 'StockRefused', 'OrderConfirmed', 'OrderRejected', 'OrderCancelled')
