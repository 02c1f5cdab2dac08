select order_id from event where order_id is not null
union select order_id from attempt where order_id is not null
union select order_id from dead_letter where order_id is not null
union select order_id from orders
