package load

import (
	"context"
	"fmt"
	"io"
	"time"
)

// How often the live line is written.
const (
	everyOnTerminal = time.Second
	everyElsewhere  = 5 * time.Second
)

// watch shows how the test goes until ctx is done. A terminal gets one line
// that is written over; a file or a pipe gets a line every few seconds.
func watch(ctx context.Context, out io.Writer, r *recorder, terminal bool) {
	every := everyElsewhere
	if terminal {
		every = everyOnTerminal
	}
	before, at := int64(0), r.start
	for sleep(ctx, every) {
		p, now := r.report(), time.Now()
		rate := float64(p.Requests-before) / now.Sub(at).Seconds()
		before, at = p.Requests, now
		line := fmt.Sprintf("%4.0fs  users %d  requests %d  failures %d  %.1f req/s  p50 %s ms  p95 %s ms",
			p.Elapsed.Seconds(), r.users.Load(), p.Requests, p.Failures, rate, ms(p.P50), ms(p.P95))
		// A live line that cannot be written must not end the test.
		if terminal {
			_, _ = fmt.Fprintf(out, "\r\x1b[K%s", line)
			continue
		}
		_, _ = fmt.Fprintln(out, line)
	}
	if terminal {
		_, _ = fmt.Fprint(out, "\r\x1b[K")
	}
}
