select t.order_id as subject, t.kind || ' was heard by notifications, and there is no delivery' as detail, t.order_id
from taken t
where t.taker = 'notifications' and t.role = 'orders' and t.has_contact = 1
  and t.kind in ('OrderConfirmed', 'OrderRejected', 'OrderCancelled')
  and not exists (select 1 from delivery d where d.event_id = t.event_id)
union all
select d.order_id, 'its notice waits, and nothing is due', d.order_id
from delivery d
where d.state = 'PENDING' and d.told_us < (select value from known where name = 'old_us')
  and not exists (select 1 from due x where x.role = 'notifications' and x.ledger = d.ledger
      and x.order_id = d.order_id and substr(x.key, 17) = d.event_id)
union all
select d.order_id, 'its notice is ' || d.state || ', and nobody was told so', d.order_id
from delivery d
where d.state in ('SENT', 'FAILED') and not exists (select 1 from event e where e.order_id = d.order_id
    and e.kind in ('NotificationSent', 'NotificationFailed'))
  and d.order_id not in (select order_id from base_order)
union all
select d.order_id, 'its mail is sent, and it is not in the folder', d.order_id
from delivery d
where d.state = 'SENT' and d.channel = 'email' and (select value from known where name = 'mail') = 1
  and not exists (select 1 from mail m where m.event_id = d.event_id)
