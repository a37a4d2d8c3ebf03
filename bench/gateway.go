package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/load"
)

// The load on a gateway: users who each wait for their answer and think.
const (
	users       = 300
	userThink   = 100 * time.Millisecond
	gatewayRun  = 8 * time.Second
	gatewayWarm = 2 * time.Second

	gatewayTarget = 1.5 // of a bare round trip's p99
)

// trip is what users had of one kind of round trip.
type trip struct {
	report *load.Report
	cpu    time.Duration // of the process that serves; 0 for none
}

func (t trip) p99() float64 { return float64(t.report.P99.Microseconds()) / 1e3 }

func (t trip) micros() float64 {
	return float64(t.cpu.Nanoseconds()) / 1e3 / float64(max(1, t.report.Requests))
}

// gatewayResult is one stage's repetitions, in turn.
type gatewayResult struct{ bare, gateway, web []trip }

const (
	gatewayRequests = "gateway-requests"
	gatewayReplies  = "gateway-replies"
)

// measureGateway lets the same users send the same bodies in three ways: to Kafka with
// nothing between, to a gateway, and to an HTTP server that has nothing behind it. What
// answers on Kafka is the same for the first two.
func (b *bench) measureGateway(ctx context.Context) (_ *gatewayResult, err error) {
	say("gateway: starting")
	if err := b.topics.create(ctx, gatewayRequests, gatewayReplies); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answering, err := launch(ctx, b.dir, "answering", []string{b.self, roleReply, "--broker", b.broker.addr, "--in", gatewayRequests}, b.env, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answering.stop()) }()
	addrs, err := freeAddrs(ctx, 2)
	if err != nil {
		return nil, err
	}
	web, err := launch(ctx, b.dir, "web", []string{b.self, roleWeb, "--addr", addrs[0]}, b.env, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, web.stop()) }()
	env := append([]string{
		"MILLRACE_KAFKA_BROKERS=" + b.broker.addr, "MILLRACE_GATEWAY_ADDR=" + addrs[1], "MILLRACE_GATEWAY_GRPC_ADDR=none",
		"MILLRACE_TOPIC_REQUESTS=" + gatewayRequests, "MILLRACE_TOPIC_REPLIES=" + gatewayReplies, "MILLRACE_TOPIC_PREDICTIONS=none",
		"MILLRACE_TOPIC_CANCELLATIONS=none", "MILLRACE_TOPIC_CARDS=none",
	}, b.env...)
	gateway, err := launch(ctx, b.dir, "gateway", []string{b.binary, "gateway"}, env, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gateway.stop()) }()
	for url, p := range map[string]*process{"http://" + addrs[1] + "/readyz": gateway, "http://" + addrs[0]: web} {
		if err := await(ctx, url, p); err != nil {
			return nil, err
		}
	}

	r := new(gatewayResult)
	for i := range b.repeats {
		bare, err := b.bareTrip(ctx)
		if err != nil {
			return nil, err
		}
		through, err := httpTrip(ctx, "http://"+addrs[1]+"/predict", gateway)
		if err != nil {
			return nil, err
		}
		plain, err := httpTrip(ctx, "http://"+addrs[0]+"/", web)
		if err != nil {
			return nil, err
		}
		r.bare, r.gateway, r.web = append(r.bare, bare), append(r.gateway, through), append(r.web, plain)
		say("gateway %d/%d: p99 bare %.2f ms, gateway %.2f ms; CPU a request: gateway %.1f µs, net/http %.1f µs",
			i+1, b.repeats, bare.p99(), through.p99(), through.micros(), plain.micros())
	}
	return r, b.topics.remove(ctx, gatewayRequests, gatewayReplies)
}

func (b *bench) bareTrip(ctx context.Context) (t trip, err error) {
	target, err := load.NewKafka(ctx, load.KafkaConfig{
		Requests: gatewayRequests, Replies: gatewayReplies, ContentType: "application/json", Opts: []kgo.Opt{kgo.SeedBrokers(b.broker.addr)},
	})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := use(ctx, target, gatewayWarm); err != nil { // connections are opened
		return t, err
	}
	t.report, err = use(ctx, target, gatewayRun)
	return t, err
}

func httpTrip(ctx context.Context, url string, p *process) (t trip, err error) {
	target, err := load.NewHTTP(load.HTTPConfig{URL: url, Connections: users})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := use(ctx, target, gatewayWarm); err != nil {
		return t, err
	}
	before, err := p.cpu(ctx)
	if err != nil {
		return t, err
	}
	if t.report, err = use(ctx, target, gatewayRun); err != nil {
		return t, err
	}
	after, err := p.cpu(ctx)
	t.cpu = after - before
	return t, err
}

// use puts the users on, one after the other, so that they do not move in step. None of
// their requests may fail.
func use(ctx context.Context, target load.Target, length time.Duration) (*load.Report, error) {
	examples := bundled.Examples()
	bodies := make([][]byte, len(examples))
	for i := range examples {
		bodies[i] = examples[i].Body()
	}
	report, err := load.Run(ctx, load.Config{
		Target: target, Body: func(i int) []byte { return bodies[i%len(bodies)] }, Duration: length,
		Users: users, SpawnRate: users, Think: userThink, Timeout: 10 * time.Second,
	}, io.Discard)
	if err == nil && (report.Requests == 0 || report.Failures > 0) {
		err = fmt.Errorf("%d of %d requests failed: %v", report.Failures, report.Requests, report.Reasons)
	}
	return report, err
}

// freeAddrs are loopback addresses that nothing listens on.
func freeAddrs(ctx context.Context, n int) (list []string, err error) {
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// await waits until a process answers.
func await(ctx context.Context, url string, p *process) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the %s is not ready within a minute", p.name))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.done:
			return p.fault()
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
}

func (r *gatewayResult) write(w io.Writer) {
	fmt.Fprintf(w, "\n**gateway**: %d users who think %s between two requests, bodies of the forecaster\n\n", users, userThink)
	fmt.Fprintln(w, "| | requests/s | p50 ms | p99 ms | least – most | its CPU, µs a request |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|")
	row := func(name string, trips []trip) {
		p99 := stats(eachTrip(trips, trip.p99))
		cpu := ""
		if trips[0].cpu > 0 {
			cpu = fmt.Sprintf("%.1f", median(eachTrip(trips, trip.micros)))
		}
		fmt.Fprintf(w, "| %s | %.0f | %.2f | %.2f | %.2f – %.2f | %s |\n", name,
			median(eachTrip(trips, func(t trip) float64 { return t.report.Rate })),
			median(eachTrip(trips, func(t trip) float64 { return float64(t.report.P50.Microseconds()) / 1e3 })), p99.mid, p99.low, p99.high, cpu)
	}
	row("bare round trip through Kafka", r.bare)
	row("gateway", r.gateway)
	row("plain net/http echo", r.web)
	ratios := make([]float64, len(r.bare))
	for i := range ratios {
		ratios[i] = r.gateway[i].p99() / r.bare[i].p99()
	}
	s := stats(ratios)
	fmt.Fprintf(w, "| **of the bare one's p99** | | | **%.2f** | %.2f – %.2f | |\n", s.mid, s.low, s.high)
	if s.mid > gatewayTarget {
		fmt.Fprintf(w, "\nThe target of at most %.1f is not reached.\n", gatewayTarget)
	}
}

func eachTrip(trips []trip, f func(trip) float64) []float64 {
	values := make([]float64, len(trips))
	for i, t := range trips {
		values[i] = f(t)
	}
	return values
}
