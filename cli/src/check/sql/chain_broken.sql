select ledger || ' entry ' || position as subject, problem as detail, null as order_id from chain_problem
