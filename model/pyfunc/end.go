package pyfunc

import (
	"errors"
	"strings"
	"time"
)

// broken ends the process over an error of its connection, and says what went
// wrong in words for who sent a request.
func (c *child) broken(err error) error {
	failed := (*callError)(nil)
	if errors.As(err, &failed) {
		c.kill(failed.reason)
		return failed
	}
	c.kill(Crashed)
	what := "the model's process ended: " + c.exit
	if tail := c.lines.tail(); tail != "" && !c.wasUseful() {
		what += ": " + clip(tail)
	}
	return &callError{Crashed, what}
}

func (c *child) wasUseful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.useful
}

// kill ends the process now, with all that it has started, and waits for that.
func (c *child) kill(why Reason) {
	c.mu.Lock()
	if c.reason == "" {
		c.reason = why
	}
	c.mu.Unlock()
	c.end(0)
}

// end lets go of the process: it has grace to end by itself.
func (c *child) end(grace time.Duration) {
	_ = c.stdin.Close()
	_ = c.conn.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if grace > 0 {
		select {
		case <-c.done:
		case <-timer.C:
		}
	}
	c.mu.Lock()
	if !c.reaped {
		killGroup(c.pid)
	}
	c.mu.Unlock()
	<-c.done
}

// alive says whether the process has not ended yet.
func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// clip keeps what a model says of itself to what an answer may have.
func clip(s string) string {
	const most = 900
	if s = strings.TrimSpace(s); len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// ended is why the process ended: by itself unless it was ended.
func (c *child) ended() Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == "" {
		return Crashed
	}
	return c.reason
}
