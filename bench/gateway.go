package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
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

// trip is what users had of one kind of round trip, and the processor time that it took.
type trip struct {
	report                *load.Report
	serves, broker, users time.Duration // serves is 0 where nothing is between
}

func (t trip) p50() float64 { return float64(t.report.P50.Microseconds()) / 1e3 }
func (t trip) p99() float64 { return float64(t.report.P99.Microseconds()) / 1e3 }

// micros is processor time a request.
func (t trip) micros(cpu time.Duration) float64 {
	return float64(cpu.Nanoseconds()) / 1e3 / float64(max(1, t.report.Requests))
}

func (t trip) served() float64   { return t.micros(t.serves) }
func (t trip) brokered() float64 { return t.micros(t.broker) }
func (t trip) used() float64     { return t.micros(t.users) }

// gatewayResult is one stage's repetitions, in turn.
type gatewayResult struct {
	bare, gateway, web []trip
	spread             float64
}

const (
	gatewayRequests = "gateway-requests"
	gatewayReplies  = "gateway-replies"
)

// measureGateway lets the same users send the same bodies in three ways: to Kafka with
// nothing between, to a gateway, and to an HTTP server that has nothing behind it. What
// answers on Kafka is the same for the first two.
func (b *bench) measureGateway(ctx context.Context) (_ *gatewayResult, err error) {
	say("gateway: starting")
	defer debug.SetGCPercent(debug.SetGCPercent(b.percent)) // the users are in this process
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

	r := &gatewayResult{spread: b.spread}
	for i := range b.repeats {
		bare, err := b.bareTrip(ctx)
		if err != nil {
			return nil, err
		}
		through, err := b.httpTrip(ctx, "http://"+addrs[1]+"/predict", gateway)
		if err != nil {
			return nil, err
		}
		plain, err := b.httpTrip(ctx, "http://"+addrs[0]+"/", web)
		if err != nil {
			return nil, err
		}
		r.bare, r.gateway, r.web = append(r.bare, bare), append(r.gateway, through), append(r.web, plain)
		say("gateway %d/%d: p99 bare %.2f ms, gateway %.2f ms; CPU a request: gateway %.1f µs, net/http %.1f µs",
			i+1, b.repeats, bare.p99(), through.p99(), through.served(), plain.served())
	}
	return r, b.topics.remove(ctx, gatewayRequests, gatewayReplies)
}

// bareTrip spreads its requests over the partitions as the gateway does: batch by batch.
func (b *bench) bareTrip(ctx context.Context) (trip, error) {
	target, err := load.NewKafka(ctx, load.KafkaConfig{
		Requests: gatewayRequests, Replies: gatewayReplies, ContentType: "application/json",
		Opts: []kgo.Opt{kgo.SeedBrokers(b.broker.addr), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))},
	})
	if err != nil {
		return trip{}, err
	}
	return b.trip(ctx, target, nil)
}

func (b *bench) httpTrip(ctx context.Context, url string, p *process) (trip, error) {
	target, err := load.NewHTTP(load.HTTPConfig{URL: url, Connections: users})
	if err != nil {
		return trip{}, err
	}
	return b.trip(ctx, target, p)
}

// trip lets the users send to a target, once its connections are open, and closes it.
// The processor time is that of p, unless it is nil, and of who is always there.
func (b *bench) trip(ctx context.Context, target load.Target, p *process) (t trip, err error) {
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := b.use(ctx, target, gatewayWarm); err != nil {
		return t, err
	}
	begin, err := b.spent(ctx, p)
	if err != nil {
		return t, err
	}
	if t.report, err = b.use(ctx, target, gatewayRun); err != nil {
		return t, err
	}
	end, err := b.spent(ctx, p)
	t.serves, t.broker, t.users = end[0]-begin[0], end[1]-begin[1], end[2]-begin[2]
	return t, err
}

// spent is the processor time of p, the broker and the users so far.
func (b *bench) spent(ctx context.Context, p *process) (cpu [3]time.Duration, err error) {
	if p != nil {
		if cpu[0], err = p.cpu(ctx); err != nil {
			return cpu, err
		}
	}
	cpu[1], err = b.broker.cpu(ctx)
	cpu[2] = ownCPU()
	return cpu, err
}

// use puts the users on, one after the other, and lets their pauses differ, so that they
// do not move in step. None of their requests may fail.
func (b *bench) use(ctx context.Context, target load.Target, length time.Duration) (*load.Report, error) {
	examples := bundled.Examples()
	bodies := make([][]byte, len(examples))
	for i := range examples {
		bodies[i] = examples[i].Body()
	}
	report, err := load.Run(ctx, load.Config{
		Target: target, Body: func(i int) []byte { return bodies[i%len(bodies)] }, Duration: length,
		Users: users, SpawnRate: users, Think: userThink, Spread: b.spread, Timeout: 10 * time.Second,
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
	fmt.Fprintf(w, "\n**gateway**: %d users who think %s between two requests, %g %% more or less, bodies of the forecaster\n\n", users, userThink, 100*r.spread)
	fmt.Fprintln(w, "| | requests/s | p50 ms | p99 ms | least – most | its CPU, µs a request | the broker's | the users' |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|")
	row := func(name string, trips []trip) {
		p99 := stats(eachTrip(trips, trip.p99))
		fmt.Fprintf(w, "| %s | %.0f | %.2f | %.2f | %.2f – %.2f | %.1f | %.1f | %.1f |\n", name,
			median(eachTrip(trips, func(t trip) float64 { return t.report.Rate })), median(eachTrip(trips, trip.p50)), p99.mid, p99.low, p99.high,
			median(eachTrip(trips, trip.served)), median(eachTrip(trips, trip.brokered)), median(eachTrip(trips, trip.used)))
	}
	row("bare round trip through Kafka", r.bare)
	row("gateway", r.gateway)
	row("plain net/http echo", r.web)
	ratios := make([]float64, len(r.bare))
	for i := range ratios {
		ratios[i] = r.gateway[i].p99() / r.bare[i].p99()
	}
	s := stats(ratios)
	fmt.Fprintf(w, "| **of the bare one's p99** | | | **%.2f** | %.2f – %.2f | | | |\n", s.mid, s.low, s.high)
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
