package gateway

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// longest is the most time that a request may ask for.
func (g *Gateway) longest(async bool) time.Duration {
	if async {
		return g.cfg.Async.Keep
	}
	return g.cfg.MaxTimeout
}

// timeoutOf is the time that a request has, by its header.
func (g *Gateway) timeoutOf(text string, async bool) (time.Duration, error) {
	switch {
	case text == "" && async:
		return g.cfg.Async.Timeout, nil
	case text == "":
		return g.cfg.Timeout, nil
	}
	return parseTimeout(text, g.longest(async))
}

// parseTimeout reads seconds as a decimal, or a Go duration, cut to the longest
// allowed.
func parseTimeout(text string, longest time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) {
			return 0, fmt.Errorf("%q is neither seconds nor a duration such as 500ms", text)
		}
		// Compared before the conversion, which would overflow.
		if seconds >= longest.Seconds() {
			return longest, nil
		}
		d = time.Duration(max(seconds, 0) * float64(time.Second))
	}
	if d <= 0 {
		return 0, fmt.Errorf("%q is not above 0", text)
	}
	return min(d, longest), nil
}
