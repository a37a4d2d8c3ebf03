package load

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// How often the live line is written.
const (
	everyOnTerminal = time.Second
	everyElsewhere  = 5 * time.Second
)

// watch shows how the test goes until ctx is done. A terminal gets one line
// that is written over; a file or a pipe gets a line every few seconds.
func watch(ctx context.Context, out io.Writer, r *recorder, terminal bool, length time.Duration) {
	every := everyElsewhere
	if terminal {
		every = everyOnTerminal
	}
	before, at := int64(0), r.start
	for sleep(ctx, every) {
		p, now := r.report(), time.Now()
		rate := float64(p.Requests-before) / now.Sub(at).Seconds()
		before, at = p.Requests, now
		line := progress(p.Elapsed, length) + fmt.Sprintf("  users %d  under way %d  requests %d  failures %d  %.1f req/s  p50 %s ms  p95 %s ms",
			r.users.Load(), r.inFlight.Load(), p.Requests, p.Failures, rate, ms(p.P50), ms(p.P95))
		if n := len(p.Windows); n > 0 && p.Windows[n-1].Lag != nil {
			line += fmt.Sprintf("  lag %.0f  workers %.0f", *p.Windows[n-1].Lag, *p.Windows[n-1].Workers)
		}
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

// progress is how far the test is, of a length that may not be known.
func progress(elapsed, length time.Duration) string {
	if length <= 0 {
		return fmt.Sprintf("%4.0fs", elapsed.Seconds())
	}
	const width = 10
	done := min(1, elapsed.Seconds()/length.Seconds())
	full := int(done * width)
	return fmt.Sprintf("%s%s %3.0f %%  %.0f of %.0f s", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*done, elapsed.Seconds(), length.Seconds())
}
