// Package gateway turns an HTTP request into a record, waits for its answer on
// a partition of the reply topic that it reads without a group, and gives the
// answer back as it is.
package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/card"
	"github.com/millrace/millrace/gateway/auth"
	"github.com/millrace/millrace/gateway/page"
	"github.com/millrace/millrace/gateway/predictions"
	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/alarm"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/tracing"
)

// Deps is what a gateway stands on.
type Deps struct {
	Log     *slog.Logger
	Version string // of this program, for who asks
	Metrics *metrics.Gateway
	// Predictions are the series of asynchronous requests.
	Predictions *metrics.Predictions
	Series      prometheus.Gatherer // served at /metrics
	Kafka       []kgo.Opt           // brokers, TLS, SASL, dialer
	Listener    net.Listener        // nil: listen on Config.Addr
	Traces      *tracing.Gateway    // nil: no request is followed
	GRPC        net.Listener        // nil: no gRPC
	// Alarm makes what ends a request's wait for company; nil is [alarm.Coarse].
	Alarm func(ring func()) *alarm.Alarm
}

// Gateway is made by New and lives in Run.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics.Gateway
	deps    Deps

	replies   *replies
	journeys  sync.Pool // of requests that were answered
	gather    gatherer
	admission *admission
	kept      *predictionLog
	guard     *auth.Guard
	cards     *card.List
	secure    *tls.Config // nil: no TLS
	glance    *page.Glance
	access    *accessLog // nil for none
	lags      lags

	// Two ends that requests wait beside: the gateway begins to stop, and the drain's
	// time is over.
	leaving, killed context.Context //nolint:containedctx // they end what is under way
	leave, kill     context.CancelFunc

	client    *kgo.Client // set by Run before anything is served
	admin     *kadm.Client
	partition atomic.Int32          // of the reply topic; -1 until it is assigned
	polled    atomic.Int64          // when the reply loop last turned, in Unix nanoseconds
	unready   atomic.Pointer[error] // why the last probe failed; nil when it did not

	cancels    atomic.Bool  // the topic of cancellations is there
	cancelling atomic.Int64 // cancellations on their way
}

var (
	errStarting = errors.New("no probe has come back yet")
	errStuck    = errors.New("the reply loop does not turn")
	errStopping = errors.New("stopping")
)

// stuckAfter is how long the reply loop may stand still. It turns at least
// every pollTurn.
const (
	pollTurn   = 5 * time.Second
	stuckAfter = 30 * time.Second
)

// New checks the configuration. It starts nothing.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	guard, err := auth.New(cfg.Auth, deps.Log, deps.Metrics.AuthErrs.Inc)
	if err != nil {
		return nil, err
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	g := &Gateway{
		cfg: cfg, log: deps.Log, metrics: deps.Metrics, deps: deps,
		replies:   newReplies(random, deps.Metrics.Orphans),
		admission: newAdmission(cfg.Admission, deps.Metrics),
		kept:      &predictionLog{Store: predictions.New(cfg.Async.Keep, cfg.Async.Bytes, deps.Predictions)},
		guard:     guard,
		cards:     card.NewList(card.ListDeps{Topic: kafka.Optional(cfg.CardTopic), Log: deps.Log, Opts: deps.Kafka, Known: deps.Metrics.Cards}),
		glance:    page.NewGlance(),
		access:    newAccessLog(cfg.Access, deps.Log, deps.Metrics),
	}
	g.leaving, g.leave = context.WithCancel(context.Background())
	g.killed, g.kill = context.WithCancel(context.Background())
	g.gather.publish = g.publishJourney
	g.partition.Store(-1)
	g.setUnready(errStarting)
	if g.secure, err = cfg.TLS.Server(g.log, g.metrics.CertificateExpiry.Set); err != nil {
		return nil, err
	}
	return g, nil
}

// Run serves until ctx is done. Then it takes no new request, lets those that
// wait finish within the drain's time, and only then leaves Kafka.
func (g *Gateway) Run(ctx context.Context) error {
	client, err := kgo.NewClient(append(g.clientOpts(), g.deps.Kafka...)...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	g.client, g.admin = client, kadm.NewClient(client)
	makeAlarm := g.deps.Alarm
	if makeAlarm == nil {
		makeAlarm = alarm.Coarse
	}
	g.gather.alarm = makeAlarm(g.gather.flush)
	defer g.gather.alarm.Close()
	if err := g.openPredictions(); err != nil {
		return err
	}
	g.polled.Store(time.Now().UnixNano())

	// What answers are read with outlives ctx: it ends after the server.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { g.readReplies(reading); return nil })
	group.Go(func() error { g.readPredictions(reading); return nil })
	group.Go(func() error { g.keepProbing(ctx); return nil })
	group.Go(func() error { g.exportLag(ctx); return nil })
	group.Go(func() error { g.countWorkers(ctx); return nil })
	group.Go(func() error { g.guard.Run(ctx); return nil })
	group.Go(func() error { return g.cards.Run(ctx) })
	group.Go(func() error {
		defer stopReading()
		serving, ctx := errgroup.WithContext(ctx)
		serving.Go(func() error { return g.serve(ctx) })
		serving.Go(func() error { return g.serveGRPC(ctx) })
		return serving.Wait()
	})
	return group.Wait()
}

// serve runs the HTTP server. Requests that still wait at the end of the drain
// are answered with an error; the server gets a second more to send it.
func (g *Gateway) serve(ctx context.Context) error {
	srv := &admin.Server{
		Addr: g.cfg.Addr, Listener: g.deps.Listener, Handler: g.handler(), TLS: g.secure,
		ReadTimeout: g.cfg.ReadTimeout, Drain: g.cfg.DrainTimeout + time.Second,
	}
	ended := make(chan struct{})
	killer := make(chan struct{})
	go func() {
		defer close(killer)
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		g.setUnready(errStopping)
		g.leave()
		wait := time.NewTimer(g.cfg.DrainTimeout)
		defer wait.Stop()
		select {
		case <-wait.C:
			g.kill()
		case <-ended:
		}
	}()
	err := srv.Run(ctx)
	close(ended)
	<-killer
	return err
}

// clientOpts come before the caller's, which may override them.
func (g *Gateway) clientOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.ProducerLinger(0), // a linger is paid by every request
		kgo.RecordDeliveryTimeout(g.cfg.PublishTimeout),
		kgo.MaxBufferedRecords(3*g.cfg.Admission.MaxWaiting + 10),
		kgo.ProducerBatchMaxBytes(int32(max(g.cfg.MaxBodyBytes+maxRecordHead, 1_000_012))), //nolint:gosec // the body is bounded by Validate
		kgo.RecordPartitioner(partitioner{g.cfg.ReplyTopic, g.cfg.Async.Topic}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(16 << 20),
		// After a loss of data the replies waited for are gone as well.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.DisableClientMetrics(),
	}
}

// maxRecordHead is room for a record's key and headers: the HTTP headers that
// they come from are bounded likewise.
const maxRecordHead = 128 << 10

// partitioner spreads requests batch by batch, those with a key by key, and
// takes the partition of a probe, or of a prediction, as it is.
type partitioner struct{ replies, predictions string }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == p.replies || topic == p.predictions {
		return kgo.ManualPartitioner().ForTopic(topic)
	}
	return kgo.StickyKeyPartitioner(nil).ForTopic(topic)
}

// live is about this process alone: a broker that is away must not restart it.
func (g *Gateway) live() error {
	if time.Since(time.Unix(0, g.polled.Load())) > stuckAfter {
		return errStuck
	}
	return nil
}

func (g *Gateway) ready() error {
	if err := g.unready.Load(); err != nil {
		return *err
	}
	return nil
}

// endingWith is ctx, which ends with another as well.
func endingWith(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(other, cancel)
	return ctx, func() { stop(); cancel() }
}

func (g *Gateway) setUnready(err error) {
	if err == nil {
		g.unready.Store(nil)
		return
	}
	g.unready.Store(&err)
}

// pick chooses the reply partition. The instance's number is random, so that
// several gateways spread; sharing a partition costs only the reading.
func (g *Gateway) pick(partitions int) (int32, error) {
	if p := g.cfg.ReplyPartition; p >= 0 {
		if int(p) >= partitions {
			return 0, fmt.Errorf("reply partition %d: the topic %s has %d", p, g.cfg.ReplyTopic, partitions)
		}
		return p, nil
	}
	n := binary.BigEndian.Uint32(g.replies.instance[:])
	return int32(n % uint32(partitions)), nil //nolint:gosec // below the number of partitions
}
