// Package remote serves models that run elsewhere: behind an endpoint of the
// Open Inference Protocol V2 (Triton, KServe, MLServer) or an MLflow scoring
// server. To the rest of Millrace they are models like any other.
//
// A [Client] is what all versions of one reference share: connections,
// credentials, the bound of calls at a time, and the breaker. [Client.Resolve]
// asks the endpoint which version it serves, [Client.Open] makes a
// [model.Model] of that version. Nothing here starts a goroutine that outlives
// a call, but for the idle connections that [Client.Close] ends.
//
// Only a reference, which is configuration, names an endpoint: no request and
// no answer does, and redirects to another host are not followed.
package remote
