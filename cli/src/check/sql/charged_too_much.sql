select m.order_id as subject,
    'charged ' || m.charged_before || ', refunded ' || m.refunded || ', to pay ' || p.total_minor as detail, m.order_id
from money m join placed p on p.order_id = m.order_id left join payment y on y.order_id = m.order_id
where m.charged_before - m.refunded > p.total_minor
  and coalesce(y.state, '') not in ('PARKED', 'COMPENSATING', 'UNKNOWN', 'CHARGING', 'PENDING')
