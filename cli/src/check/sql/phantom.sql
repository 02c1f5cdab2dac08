select p.order_id as subject, 'nobody asked for it' as detail, p.order_id
from placed p
where p.customer_id in (select process from call)
  and not exists (select 1 from call c where c.shop = p.shop and c.request_id = p.request_id)
union all
select p.order_id, 'there, though every call for it was refused for good', p.order_id
from placed p
where exists (select 1 from call c where c.op = 'place' and c.shop = p.shop and c.request_id = p.request_id
      and c.code <> 'ALREADY_EXISTS')
  and not exists (select 1 from call c where c.op = 'place' and c.shop = p.shop and c.request_id = p.request_id
      and c.outcome <> 'fail')
union all
select i.order_id, 'kept with another content than was asked for', i.order_id
from intake i
where exists (select 1 from call c where c.op = 'place' and c.shop = i.shop and c.request_id = i.request_id
      and c.req_sha is not null)
  and not exists (select 1 from call c where c.op = 'place' and c.shop = i.shop and c.request_id = i.request_id
      and c.req_sha = i.fingerprint)
