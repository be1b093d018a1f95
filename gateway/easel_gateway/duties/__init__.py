"""Background work of the gateway; several gateways may do it at once."""
