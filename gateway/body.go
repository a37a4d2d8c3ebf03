package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

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

// fill reads the body to its end, as long as there is room for it. It reads into the
// body's own memory, which for one of known length is made once.
func (h *held) fill(from io.Reader, expected int64) error {
	h.body = make([]byte, 0, min(max(expected, 0), firstPiece)+1) // and one for the end to be seen
	for {
		if len(h.body) == cap(h.body) {
			h.body = slices.Grow(h.body, len(h.body))
		}
		n, err := from.Read(h.body[len(h.body):cap(h.body)])
		if !h.a.hold(int64(n)) {
			return errNoRoom
		}
		h.size += int64(n)
		h.body = h.body[:len(h.body)+n]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// read takes the body within the limits. A refusal with the status of a client
// that went away is not to be sent.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request, h *held) *refusal {
	body, no := g.plainBody(w, r)
	if no != nil {
		return no
	}
	err := h.fill(body, r.ContentLength)
	if err == nil && len(h.body) > 0 {
		return nil
	}
	return g.unread(w, err)
}

// unread says why there is no body; without an error it is empty.
func (g *Gateway) unread(w http.ResponseWriter, err error) *refusal {
	tooLarge := (*http.MaxBytesError)(nil)
	slow := net.Error(nil)
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{status: http.StatusRequestEntityTooLarge, err: model.Errorf(model.TooLarge, "the body is larger than %d bytes", tooLarge.Limit)}
	case errors.Is(err, errNoRoom):
		w.Header().Set("Connection", "close") // the rest is not read
		return g.noRoom()
	case errors.Is(err, errInflate):
		return &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "%w", errInflate)}
	case errors.As(err, &slow) && slow.Timeout():
		w.Header().Set("Connection", "close")
		return &refusal{status: http.StatusRequestTimeout, err: model.Errorf(model.DeadlineExceeded, "the body did not arrive within %s", g.cfg.ReadTimeout)}
	case err != nil:
		return &refusal{status: statusClientGone, err: model.AsError(err)}
	}
	return &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "the body is empty")}
}

func (g *Gateway) noRoom() *refusal {
	return &refusal{
		http.StatusServiceUnavailable, metrics.RefusedMemory, retrySoon,
		model.Errorf(model.Overloaded, "the requests under way hold %d bytes, which is the limit", g.cfg.Admission.MaxBuffered),
	}
}

// firstPiece is how much memory a body gets on its word alone.
const firstPiece = 64 << 10
