package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// KafkaConfig is a pool under load without a gateway: requests are produced, and
// their answers read.
type KafkaConfig struct {
	Requests    string // topic
	Replies     string // topic that the workers allow as a reply topic
	ContentType string // none is sent when empty
	Model       string // header; none is sent when empty
	Opts        []kgo.Opt
}

// kafkaTarget waits for answers on one partition of the replies, which it reads
// without a group.
type kafkaTarget struct {
	cfg       KafkaConfig
	client    *kgo.Client
	partition int32
	stop      context.CancelFunc
	reading   sync.WaitGroup

	mu      sync.Mutex
	waiting map[[16]byte]chan<- *kgo.Record // under mu
}

// NewKafka connects to the brokers and begins to read the replies, until Close.
func NewKafka(ctx context.Context, cfg KafkaConfig) (Target, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.DisableClientMetrics(),
	}, cfg.Opts...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	t := &kafkaTarget{cfg: cfg, client: client, waiting: make(map[[16]byte]chan<- *kgo.Record)}
	if err := t.join(ctx); err != nil {
		client.Close()
		return nil, err
	}
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.reading.Go(func() { t.read(reading) })
	return t, nil
}

// join picks a partition of the replies and takes it from its end, as it is now: a
// client that asks for the end later could miss the first answers.
func (t *kafkaTarget) join(ctx context.Context) error {
	adm := kadm.NewClient(t.client)
	found, err := adm.ListTopics(ctx, t.cfg.Requests, t.cfg.Replies)
	if err == nil {
		err = found.Error()
	}
	if err != nil {
		return fmt.Errorf("topics %s and %s: %w", t.cfg.Requests, t.cfg.Replies, err)
	}
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(found[t.cfg.Replies].Partitions))))
	if err != nil {
		return err
	}
	t.partition = int32(n.Int64()) //nolint:gosec // below the number of partitions
	ends, err := adm.ListEndOffsets(ctx, t.cfg.Replies)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("end of %s: %w", t.cfg.Replies, err)
	}
	end, _ := ends.Lookup(t.cfg.Replies, t.partition)
	t.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{
		t.cfg.Replies: {t.partition: kgo.NewOffset().At(end.Offset)},
	})
	return nil
}

func (t *kafkaTarget) read(ctx context.Context) {
	for ctx.Err() == nil {
		t.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			v, _ := wire.Header(r, wire.CorrelationID)
			if len(v) != 16 {
				return
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			if answer, ok := t.waiting[[16]byte(v)]; ok {
				delete(t.waiting, [16]byte(v))
				answer <- r
			}
		})
	}
}

// Close ends the reading and leaves the brokers.
func (t *kafkaTarget) Close() error {
	t.stop()
	t.reading.Wait()
	t.client.Close()
	return nil
}

// Send produces one request and waits for its answer.
func (t *kafkaTarget) Send(ctx context.Context, body []byte) Outcome {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	answer := make(chan *kgo.Record, 1)
	t.mu.Lock()
	t.waiting[id] = answer
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.waiting, id)
		t.mu.Unlock()
	}()
	sent := make(chan error, 1)
	t.client.TryProduce(context.WithoutCancel(ctx), t.record(ctx, id, body), func(_ *kgo.Record, err error) { sent <- err })
	for {
		select {
		case r := <-answer:
			return outcomeOf(r)
		case err := <-sent:
			if errors.Is(err, kgo.ErrMaxBuffered) {
				return Outcome{Reason: "not produced: the client's buffer is full"}
			}
			if err != nil {
				return Outcome{Reason: "not produced"}
			}
			sent = nil
		case <-ctx.Done():
			return Outcome{Reason: "timeout"}
		}
	}
}

func (t *kafkaTarget) record(ctx context.Context, id [16]byte, body []byte) *kgo.Record {
	rec := &kgo.Record{Topic: t.cfg.Requests, Value: body, Headers: []kgo.RecordHeader{
		{Key: wire.CorrelationID, Value: id[:]},
		{Key: wire.ReplyTopic, Value: []byte(t.cfg.Replies)},
		{Key: wire.ReplyPartition, Value: binary.BigEndian.AppendUint32(nil, uint32(t.partition))}, //nolint:gosec // not negative
	}}
	if deadline, ok := ctx.Deadline(); ok { // nobody waits after it
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: wire.ExpiryTime, Value: deadline.UTC().AppendFormat(nil, time.RFC3339Nano)})
	}
	for key, value := range map[string]string{wire.ContentType: t.cfg.ContentType, wire.Model: t.cfg.Model} {
		if value != "" {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	return rec
}

func outcomeOf(r *kgo.Record) Outcome {
	text := func(key string) string { v, _ := wire.Header(r, key); return string(v) }
	out := Outcome{Model: text(wire.ModelName), Version: text(wire.ModelVersion), Replica: text(wire.Worker)}
	switch status := text(wire.Status); status {
	case "ok":
	case "":
		out.Reason = "an answer without a status"
	default:
		out.Reason = status
	}
	return out
}
