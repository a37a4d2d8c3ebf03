package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WatchMetrics reads what a gateway's series say, once a call.
func WatchMetrics(client *http.Client, url string) func(context.Context) (Sample, error) {
	return func(ctx context.Context) (Sample, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return Sample{}, err
		}
		res, err := client.Do(req)
		if err != nil {
			return Sample{}, err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return Sample{}, fmt.Errorf("%s: %s", url, res.Status)
		}
		return readSample(io.LimitReader(res.Body, 16<<20))
	}
}

// readSample sums the group's lag over its topics, in Prometheus' text format.
func readSample(text io.Reader) (Sample, error) {
	var s Sample
	found := false
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		value, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			continue
		}
		switch name {
		case "millrace_group_lag_records":
			s.Lag += value
			found = true
		case "millrace_gateway_workers":
			s.Workers = value
		}
	}
	if err := lines.Err(); err != nil {
		return Sample{}, err
	}
	if !found {
		return Sample{}, errors.New("there is no series millrace_group_lag_records")
	}
	return s, nil
}
