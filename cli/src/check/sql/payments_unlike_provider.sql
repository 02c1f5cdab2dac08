select p.order_id as subject,
    p.state || ', captured ' || p.captured_minor || ' by payments, ' || coalesce(m.charged, 0) || ' by the provider'
    as detail, p.order_id
from payment p left join money m on m.order_id = p.order_id
where p.state in ('CAPTURED', 'REFUNDED', 'COMPENSATING') and p.captured_minor <> coalesce(m.charged, 0)
  and p.order_id not in (select order_id from base_order)
union all
select p.order_id,
    'refunded ' || p.refunded_minor || ' by payments, ' || coalesce(m.refunded, 0) || ' by the provider', p.order_id
from payment p left join money m on m.order_id = p.order_id
where p.state in ('CAPTURED', 'REFUNDED') and p.refunded_minor <> coalesce(m.refunded, 0)
  and p.order_id not in (select order_id from base_order)
  and not exists (select 1 from due d where d.order_id = p.order_id and d.role = 'payments')
union all
select p.order_id, p.state || ' by payments, ' || (m.charged_before - m.refunded) || ' kept by the provider', p.order_id
from payment p join money m on m.order_id = p.order_id
where p.state in ('DECLINED', 'CANCELLED') and m.charged_before > m.refunded
  and p.order_id not in (select order_id from base_order)
  and not exists (select 1 from due d where d.order_id = p.order_id and d.role = 'payments')
union all
select coalesce(a.order_id, 'reference ' || a.reference), a.kind || ' of which payments knows nothing', a.order_id
from attempt a left join payment p on p.order_id = a.order_id
where a.effect and a.look = 0 and p.order_id is null
union all
select a.order_id, 'moved ' || a.currency || ', to be paid in ' || p.currency, a.order_id
from attempt a join payment p on p.order_id = a.order_id
where a.effect and p.state <> 'PARKED' and a.currency <> p.currency
