select 'sku ' || sku as subject,
    'after commit ' || min(outbox_id) || ' of inventory: available, held or sold below zero' as detail,
    null as order_id
from running where available < 0 or held < 0 or sold < 0
group by shop, sku
