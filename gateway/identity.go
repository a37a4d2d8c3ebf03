package gateway

import (
	"context"
	"crypto/tls"
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
	return g.identifyBy(r.Context(), r.TLS, r.Header.Get("Authorization"))
}

func (g *Gateway) identifyBy(ctx context.Context, secure *tls.ConnectionState, authorization string) (string, *refusal) {
	certified := ""
	if secure != nil && len(secure.VerifiedChains) > 0 {
		certified = secure.VerifiedChains[0][0].Subject.CommonName
	}
	if g.cfg.TLS.ClientCAFile != "" && certified == "" {
		return "", stranger("a certificate of a client, with a common name, is needed")
	}
	if !g.guard.Required() {
		noteClient(ctx, certified)
		return certified, nil
	}
	client, err := g.guard.Identify(ctx, authorization)
	switch {
	case err == nil:
		noteClient(ctx, client)
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
