package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

const (
	roleReply = "child-reply"
	roleWeb   = "child-web"
)

// replyMain answers each request at once with its own body, where it asks for its
// reply: what is behind a gateway costs nothing but Kafka. It runs until ctx ends.
func replyMain(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleReply, flag.ContinueOnError)
	broker := flags.String("broker", "", "")
	in := flags.String("in", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(*broker), kgo.DisableClientMetrics(), kgo.ConsumeTopics(*in), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.FetchMaxWait(5*time.Second),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			topic, _ := wire.Header(r, wire.ReplyTopic)
			partition, _ := wire.Header(r, wire.ReplyPartition)
			id, _ := wire.Header(r, wire.CorrelationID)
			if len(partition) != 4 {
				return
			}
			cl.Produce(context.WithoutCancel(ctx), &kgo.Record{
				Topic: string(topic), Partition: int32(binary.BigEndian.Uint32(partition)), Value: r.Value, //nolint:gosec // our own
				Headers: []kgo.RecordHeader{
					{Key: wire.CorrelationID, Value: id},
					{Key: wire.Status, Value: []byte(wire.OK)},
					{Key: wire.ContentType, Value: []byte("application/json")},
					{Key: wire.ModelName, Value: []byte("m")},
					{Key: wire.ModelVersion, Value: []byte("1")},
					{Key: wire.ID, Value: wire.AppendID(nil, r)},
				},
			}, nil)
		})
	}
	return nil
}

// webMain is a plain net/http server that answers with the request's body: the least
// that an HTTP server of this language costs. It runs until ctx ends.
func webMain(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleWeb, flag.ContinueOnError)
	addr := flags.String("addr", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
