select 'message id ' || message_id as subject, count(*) || ' mails' as detail, null as order_id
from mail group by message_id having count(*) > 1
union all
select 'mail ' || m.file, 'of no delivery', null
from mail m
where m.look = 0 and not exists (select 1 from delivery d where d.event_id = m.event_id)
union all
select order_id, count(*) || ' deliveries of one notice', order_id
from delivery where channel = 'email' group by order_id, kind having count(*) > 1
