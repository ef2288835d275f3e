"""The server behind endpoints: one registered model over HTTP, following its aliases without dropping a request.

The way of a request: `app` (routes, limits, who may ask) -> `revisions` (which version answers) -> `protocols` (the
wire format) -> `predictors` (the model itself; the one seam behind which a faster server may stand) and back. Beside
it, `follow` keeps the revisions in step with the model registry.
"""
