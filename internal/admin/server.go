package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is an HTTP server that ends with its context.
type Server struct {
	Addr        string       // used when Listener is nil
	Listener    net.Listener // closed by Run
	Handler     http.Handler
	TLS         *tls.Config   // nil: none
	ReadTimeout time.Duration // the whole request; 30 s when 0
	Drain       time.Duration // how long running requests may take at the end; 5 s when 0
}

// Run serves until ctx is done, then accepts nothing new and gives the running
// requests the time of Drain before it closes their connections.
func (s *Server) Run(ctx context.Context) error {
	l := s.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	read, drain := orElse(s.ReadTimeout, 30*time.Second), orElse(s.Drain, 5*time.Second)
	// No WriteTimeout: it would count from the request's first byte and cut off
	// an answer that was rightly waited for.
	srv := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: min(read, 5*time.Second),
		ReadTimeout:       read,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         s.TLS.Clone(), // the server writes its protocols into it, and others may read it
	}
	served := make(chan error, 1)
	go func() {
		if s.TLS != nil {
			served <- srv.ServeTLS(l, "", "") // the certificate is the configuration's
		} else {
			served <- srv.Serve(l)
		}
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := srv.Shutdown(bounded)
	if err != nil {
		_ = srv.Close()
	}
	if ended := <-served; err == nil && !errors.Is(ended, http.ErrServerClosed) {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("end of the running requests: %w", err)
	}
	return nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
