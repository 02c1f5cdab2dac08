select a.order_id as subject,
    'version ' || a.version || ' was said after version ' || b.version || ', by the entries of audit' as detail, a.order_id
from history a join history b on b.order_id = a.order_id and b.version > a.version
join entry_event x on x.event_id = a.event_id join entry_event y on y.event_id = b.event_id
join entry ex on ex.ledger = x.ledger and ex.position = x.position
join entry ey on ey.ledger = y.ledger and ey.position = y.position
where ex.source = 'orders' and ey.source = 'orders' and ex.incarnation = ey.incarnation
  and (ex.number, x.seq) > (ey.number, y.seq)
