package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// errNoRoom is a body for which all bodies together leave no room.
var errNoRoom = errors.New("no room for the body")

// held is a request's body and the room that it takes until it is freed.
type held struct {
	body []byte
	a    *admission
	size int64
}

func (h *held) free() { h.a.free(h.size) }

// Write takes a piece of the body, if there is room for it.
func (h *held) Write(p []byte) (int, error) {
	if !h.a.hold(int64(len(p))) {
		return 0, errNoRoom
	}
	h.size += int64(len(p))
	h.body = append(h.body, p...)
	return len(p), nil
}

// read takes the body within the limits. A refusal with the status of a client
// that went away is not to be sent.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request, h *held) *refusal {
	if n := r.ContentLength; n > 0 && n <= g.cfg.MaxBodyBytes {
		h.body = make([]byte, 0, min(n, firstPiece))
	}
	_, err := io.Copy(h, http.MaxBytesReader(bare(w), r.Body, g.cfg.MaxBodyBytes))
	tooLarge := (*http.MaxBytesError)(nil)
	slow := net.Error(nil)
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{status: http.StatusRequestEntityTooLarge, err: model.Errorf(model.TooLarge, "the body is larger than %d bytes", tooLarge.Limit)}
	case errors.Is(err, errNoRoom):
		w.Header().Set("Connection", "close") // the rest is not read
		return &refusal{
			http.StatusServiceUnavailable, metrics.RefusedMemory, retrySoon,
			model.Errorf(model.Overloaded, "the requests under way hold %d bytes, which is the limit", g.cfg.Admission.MaxBuffered),
		}
	case errors.As(err, &slow) && slow.Timeout():
		w.Header().Set("Connection", "close")
		return &refusal{status: http.StatusRequestTimeout, err: model.Errorf(model.DeadlineExceeded, "the body did not arrive within %s", g.cfg.ReadTimeout)}
	case err != nil:
		return &refusal{status: statusClientGone, err: model.AsError(err)}
	case len(h.body) == 0:
		return &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "the body is empty")}
	}
	return nil
}

// firstPiece is how much memory a body gets on its word alone.
const firstPiece = 64 << 10
