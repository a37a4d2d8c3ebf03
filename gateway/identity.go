package gateway

import (
	"errors"
	"net/http"

	"github.com/millrace/millrace/gateway/auth"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// unauthenticated is the code of a caller who did not prove who it is. It never
// leaves HTTP, so it is none of the codes of answers.
const unauthenticated model.Code = "UNAUTHENTICATED"

// identify returns who calls, by the token, else by the certificate that the TLS
// server has verified; "" when nobody has to say.
func (g *Gateway) identify(r *http.Request) (string, *refusal) {
	certified := ""
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		certified = r.TLS.VerifiedChains[0][0].Subject.CommonName
	}
	if g.cfg.TLS.ClientCAFile != "" && certified == "" {
		return "", stranger("a certificate of a client, with a common name, is needed")
	}
	if !g.guard.Required() {
		noteClient(r.Context(), certified)
		return certified, nil
	}
	client, err := g.guard.Identify(r.Context(), r.Header.Get("Authorization"))
	switch {
	case err == nil:
		noteClient(r.Context(), client)
		return client, nil
	case errors.Is(err, auth.ErrNotReady):
		return "", &refusal{http.StatusServiceUnavailable, metrics.RefusedIdentity, retrySoon, model.Errorf(model.Unavailable, "%w", err)}
	}
	return "", stranger(err.Error())
}

func stranger(why string) *refusal {
	return &refusal{
		status: http.StatusUnauthorized, reason: metrics.RefusedIdentity,
		err: &model.Error{Code: unauthenticated, Message: why},
	}
}
