// Package producer publishes answers: to the results topic or where the
// request asks for its reply, and what is no prediction to the dead-letter
// topic too.
package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is how answers are published.
type Config struct {
	ReplyTopics      []string      `env:"REPLY_TOPICS" envDefault:"inference.replies" help:"Topics that a request may name for its reply, comma separated."`
	ReplyAlsoResults bool          `env:"REPLY_ALSO_RESULTS" help:"Write replies to the results topic too."`
	MaxBuffered      int           `env:"PRODUCER_MAX_BUFFERED" envDefault:"4096" help:"Records that wait for the broker; beyond them publishing blocks."`
	BatchMaxBytes    int32         `env:"PRODUCER_BATCH_MAX_BYTES" envDefault:"1000012" help:"Bytes of the largest batch, and so of the largest record."`
	Compression      string        `env:"PRODUCER_COMPRESSION" envDefault:"none" help:"One of none, lz4, zstd, snappy."`
	CloseTimeout     time.Duration `env:"PRODUCER_CLOSE_TIMEOUT" envDefault:"10s" help:"Longest wait at the end for what the broker has not acknowledged."`
	RetryBackoff     time.Duration `env:"PRODUCER_RETRY_BACKOFF" envDefault:"1s" help:"Pause before what the broker refused is tried again."`
}

func (c Config) codec() (kgo.CompressionCodec, bool) {
	switch c.Compression {
	case "none":
		return kgo.NoCompression(), true
	case "lz4":
		return kgo.Lz4Compression(), true
	case "zstd":
		return kgo.ZstdCompression(), true
	case "snappy":
		return kgo.SnappyCompression(), true
	}
	return kgo.CompressionCodec{}, false
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	_, known := c.codec()
	check(known, "PRODUCER_COMPRESSION", "one of none, lz4, zstd, snappy", c.Compression)
	check(c.MaxBuffered > 0, "PRODUCER_MAX_BUFFERED", "above 0", c.MaxBuffered)
	check(c.BatchMaxBytes >= 1024, "PRODUCER_BATCH_MAX_BYTES", "1024 or above", c.BatchMaxBytes)
	check(c.CloseTimeout > 0, "PRODUCER_CLOSE_TIMEOUT", "above 0", c.CloseTimeout)
	check(c.RetryBackoff > 0, "PRODUCER_RETRY_BACKOFF", "above 0", c.RetryBackoff)
	return errors.Join(errs...)
}
