select order_id as subject, charges || ' charges' as detail, order_id
from money where charges > 1 and order_id is not null
