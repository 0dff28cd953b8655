"""The field controller: site plan, signal core, need, policies, guard and backends."""
