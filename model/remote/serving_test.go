package remote

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServingHeedsItsCaller: who waits for the answer to another's question
// waits no longer than it may.
func TestServingHeedsItsCaller(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		w.WriteHeader(http.StatusNotFound)
	})
	c := newClient(t, testConfig(), "v2+"+url+"/m")
	first := make(chan bool)
	go func() { first <- c.serving(t.Context(), []string{"v2", "models", "m"}) }()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, c.serving(ctx, nil), "it is held to serve when that is not found out")
	close(answer)
	require.False(t, <-first)
	require.False(t, c.serving(t.Context(), nil), "it is remembered")
}
