package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// aliveEvery is how often a quiet stream shows that it is alive.
const aliveEvery = 15 * time.Second

// streamPredictions writes server-sent events: one prediction each, whose last line
// tells that there is no more to come.
func (g *Gateway) streamPredictions(w http.ResponseWriter, found <-chan described) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		select {
		case d, more := <-found:
			if !more {
				_, _ = fmt.Fprint(w, "event: end\ndata: {}\n\n") // a client that does not take it is no error of ours
				_ = out.Flush()
				return
			}
			text, err := json.Marshal(d)
			if err != nil {
				continue
			}
			_, _ = fmt.Fprintf(w, "event: prediction\nid: %s\ndata: %s\n\n", d.ID, text)
		case <-alive.C:
			_, _ = fmt.Fprint(w, ": alive\n\n")
		}
		_ = out.Flush()
	}
}
