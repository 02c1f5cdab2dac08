select 'request ' || lower(hex(request_id)) as subject,
    'answered with ' || count(distinct order_id) || ' orders' as detail, min(order_id) as order_id
from call where op = 'place' and outcome = 'ok'
group by shop, request_id having count(distinct order_id) > 1
union all
select 'request ' || lower(hex(request_id)), 'answered OK for different contents', min(order_id)
from call where op = 'place' and outcome = 'ok'
group by shop, request_id having count(distinct req_sha) > 1
union all
select 'request ' || lower(hex(request_id)), 'stands for ' || count(*) || ' orders', min(order_id)
from placed group by shop, request_id having count(*) > 1
union all
select 'request ' || lower(hex(i.request_id)), 'taken in as another order than was said', i.order_id
from intake i join placed p on p.shop = i.shop and p.request_id = i.request_id
where p.order_id <> i.order_id
