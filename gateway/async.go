package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/gateway/predictions"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/model"
)

// AsyncConfig is how requests are kept whose answer nobody waits for.
type AsyncConfig struct {
	Topic   string        `env:"TOPIC_PREDICTIONS" envDefault:"inference.predictions" help:"Answers to the gateways' asynchronous requests are written here; none: there are no such requests."`
	Timeout time.Duration `env:"GATEWAY_ASYNC_TIMEOUT" envDefault:"10m" help:"Deadline of an asynchronous request that names none."`
	Keep    time.Duration `env:"GATEWAY_PREDICTIONS_KEEP" envDefault:"1h" help:"How long an asynchronous prediction is kept, and the longest deadline that one may name."`
	Bytes   int64         `env:"GATEWAY_PREDICTIONS_BYTES" envDefault:"67108864" help:"Bytes that the kept predictions may take; the oldest are forgotten first."`
}

// Validate names every setting that cannot be worked with.
func (c *AsyncConfig) Validate() error {
	var errs []error
	refuse := func(bad bool, name, why string) {
		if bad {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %s", name, why))
		}
	}
	refuse(c.Timeout <= 0, "GATEWAY_ASYNC_TIMEOUT", "must be above 0")
	refuse(c.Keep < c.Timeout, "GATEWAY_PREDICTIONS_KEEP", "must not be below GATEWAY_ASYNC_TIMEOUT")
	refuse(c.Bytes < 1, "GATEWAY_PREDICTIONS_BYTES", "must be at least 1")
	return errors.Join(errs...)
}

// Headers of asynchronous requests: RFC 7240, and the field's own for a key that
// makes a repeated request the same one.
const (
	headerPrefer = "Prefer"
	headerKeyed  = "Idempotency-Key"
)

// longestKey bounds an idempotency key.
const longestKey = 255

// predictionLog is the topic of predictions, as this gateway knows it.
type predictionLog struct {
	*predictions.Store
	// A client of its own, so that large answers that nobody waits for hold up none
	// that somebody does. Set by Run before anything is served; nil without a topic.
	client     *kgo.Client
	partitions atomic.Int32 // 0 until the topic is there
}

// openPredictions makes the client that the topic is read with.
func (g *Gateway) openPredictions() error {
	if g.cfg.Async.Topic == kafka.NoTopic {
		return nil
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(16 << 20), kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics(),
	}, g.deps.Kafka...)...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	g.kept.client = client
	return nil
}

// readPredictions reads the topic until ctx is done. The client reconnects by itself.
func (g *Gateway) readPredictions(ctx context.Context) {
	if g.kept.client == nil {
		return
	}
	defer g.kept.client.Close()
	failing := false
	for ctx.Err() == nil {
		fetches := g.kept.client.PollFetches(ctx)
		fetches.EachRecord(g.kept.Take)
		err := fetches.Err()
		if err != nil && ctx.Err() == nil && !failing {
			g.log.WarnContext(ctx, "reading predictions fails, going on", "topic", g.cfg.Async.Topic, "err", err)
		}
		failing = err != nil
	}
}

// wanted says what is special about a request: that its answer is fetched later,
// and the key that it may be repeated under.
func wanted(h http.Header) (async bool, key string) {
	for _, line := range h.Values(headerPrefer) {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, ";")
			async = async || strings.EqualFold(strings.TrimSpace(name), "respond-async")
		}
	}
	return async, h.Get(headerKeyed)
}

// begin is a request whose prediction is kept: it writes down that it was accepted,
// and publishes it unless another of its key came first. What comes back is the
// prediction's id.
func (g *Gateway) begin(ctx context.Context, req *request, key string) (predictions.ID, *refusal) {
	n := int(g.kept.partitions.Load())
	switch {
	case g.cfg.Async.Topic == kafka.NoTopic:
		return predictions.ID{}, &refusal{status: http.StatusNotImplemented, err: model.Errorf(model.Unavailable, "this gateway keeps no predictions: MILLRACE_TOPIC_PREDICTIONS is none")}
	case n == 0:
		return predictions.ID{}, unavailable("the topic %s of predictions is missing", g.cfg.Async.Topic)
	case len(key) > longestKey:
		return predictions.ID{}, &refusal{status: http.StatusBadRequest, err: model.Errorf(model.InvalidInput, "%s: more than %d characters", headerKeyed, longestKey)}
	}
	p := predictions.Prediction{ID: predictions.NewID(), Client: req.client, Body: sha256.Sum256(req.body), Created: time.Now(), Deadline: req.deadline}
	if key != "" {
		p.ID = predictions.KeyID(req.client, key)
	}
	nonce := predictions.NewID()
	read := g.kept.Read(nonce)
	defer g.kept.Forget(nonce)
	rec := predictions.Accepted(&p, nonce)
	rec.Topic, rec.Partition = g.cfg.Async.Topic, p.ID.Partition(n)
	// A caller that goes away meanwhile changes nothing: it may come back with its key.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.PublishTimeout)
	defer cancel()
	if err := g.publish(bounded, rec, nil); err != nil {
		return p.ID, &refusal{status: httpStatus(err.Code), err: err}
	}
	if key != "" {
		select {
		case won := <-read:
			if !won {
				return p.ID, g.repeated(&p)
			}
		case <-bounded.Done():
			return p.ID, unavailable("the topic of predictions could not be read in time; the request was not published")
		}
	}
	asked := g.record(id(p.ID), g.cfg.Async.Topic, rec.Partition, req, nil, nil)
	if err := g.publishAccepted(bounded, &asked, p.ID); err != nil {
		return p.ID, &refusal{status: httpStatus(err.Code), err: err}
	}
	return p.ID, nil
}

// repeated is a request whose key another came under: fine when it asks the same.
func (g *Gateway) repeated(p *predictions.Prediction) *refusal {
	if first, ok := g.kept.Get(p.ID); ok && first.Body != p.Body {
		return &refusal{status: http.StatusUnprocessableEntity, err: model.Errorf(model.InvalidInput, "%s: it was used for another body", headerKeyed)}
	}
	return nil
}

// publishAccepted publishes the request of a prediction that was accepted. The
// acceptance is taken back when the request is known not to be in its topic: until then
// another of its key would be run beside it.
func (g *Gateway) publishAccepted(ctx context.Context, rec *kgo.Record, id predictions.ID) *model.Error {
	traced := g.deps.Traces.Send(ctx, rec)
	return g.publish(ctx, rec, func(rec *kgo.Record, err error) {
		traced(rec, err)
		if err != nil {
			withdrawn := predictions.Withdrawn(id)
			withdrawn.Topic, withdrawn.Partition = g.cfg.Async.Topic, id.Partition(int(g.kept.partitions.Load()))
			g.client.TryProduce(context.WithoutCancel(ctx), withdrawn, nil) // what it does not reach, the deadline ends
		}
	})
}

// publish produces a record and waits until it is acknowledged. told, unless it is nil,
// is called with what became of it, which may be later than that.
func (g *Gateway) publish(ctx context.Context, rec *kgo.Record, told func(*kgo.Record, error)) *model.Error {
	sent := make(chan error, 1)
	// Without cancel: one cancelled record fails the batch that it is in.
	g.client.TryProduce(context.WithoutCancel(ctx), rec, func(rec *kgo.Record, err error) {
		if told != nil {
			told(rec, err)
		}
		sent <- err
	})
	select {
	case err := <-sent:
		if err != nil {
			return g.unpublished(ctx, err)
		}
		return nil
	case <-ctx.Done():
		return model.Errorf(model.Unavailable, "the broker did not acknowledge the request within %s", g.cfg.PublishTimeout)
	}
}

func (g *Gateway) dropped(id predictions.ID, n int) *kgo.Record {
	rec := predictions.Dropped(id)
	rec.Topic, rec.Partition = g.cfg.Async.Topic, id.Partition(n)
	return rec
}

func unavailable(format string, args ...any) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, err: model.Errorf(model.Unavailable, format, args...)}
}

// find returns a prediction of a client. One that this gateway does not know yet may
// have been accepted by another: it reads on until where the topic ends now.
func (g *Gateway) find(ctx context.Context, id predictions.ID, client string) (predictions.Prediction, bool) {
	p, ok := g.kept.Get(id)
	if n := int(g.kept.partitions.Load()); !ok && n > 0 {
		nonce := predictions.NewID()
		read := g.kept.Read(nonce)
		defer g.kept.Forget(nonce)
		rec := predictions.Fence(id, nonce)
		rec.Topic, rec.Partition = g.cfg.Async.Topic, id.Partition(n)
		bounded, cancel := context.WithTimeout(ctx, g.cfg.PublishTimeout)
		defer cancel()
		if err := g.publish(bounded, rec, nil); err == nil {
			select {
			case <-read:
			case <-bounded.Done():
			}
		}
		p, ok = g.kept.Get(id)
	}
	return p, ok && p.Client == client
}

// seePredictions takes the topic's partitions when they appear, from as far back as
// predictions are kept.
func (g *Gateway) seePredictions(ctx context.Context, found kadm.TopicDetails) {
	if g.cfg.Async.Topic == kafka.NoTopic {
		return
	}
	topic, ok := found[g.cfg.Async.Topic]
	have := g.kept.partitions.Load()
	n := int32(len(topic.Partitions)) //nolint:gosec // Kafka counts them so
	if !ok || topic.Err != nil || n <= have {
		return
	}
	from := kgo.NewOffset().AfterMilli(time.Now().Add(-g.cfg.Async.Keep).UnixMilli())
	add := make(map[int32]kgo.Offset, n-have)
	for p := have; p < n; p++ {
		add[p] = from
	}
	g.kept.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{g.cfg.Async.Topic: add})
	g.kept.partitions.Store(n)
	g.log.DebugContext(ctx, "predictions are kept", "topic", g.cfg.Async.Topic, "partitions", n)
}
