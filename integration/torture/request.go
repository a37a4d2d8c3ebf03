package torture

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// StatusOK is what the header of an answer says of a prediction.
const StatusOK = "ok"

// Request is one of those that the bench sends. It is made from its number
// alone, and its content is no other's.
type Request struct {
	Number int
	Reply  bool   // it asks for its answer on the replies topic
	Status string // of its one right answer
}

// Requests knows all of them by a seed.
type Requests struct {
	Seed    uint64
	Topic   string
	Replies string // topic
	// Poisoned is how many of a thousand cannot be answered with a prediction.
	Poisoned uint64
}

// roll is a number that depends on the seed and the request alone (SplitMix64's
// finalizer).
func (q Requests) roll(i int) uint64 {
	z := q.Seed + 0x9e3779b97f4a7c15*(uint64(i)+1) //nolint:gosec // hashed, not counted
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// poisons are requests without a prediction. {n} becomes the request's number.
var poisons = []struct { //nolint:gochecknoglobals // a table
	status  model.Code
	value   func(i int) []byte
	headers []kgo.RecordHeader
}{
	{status: model.InvalidInput, value: func(i int) []byte { return fmt.Appendf(nil, `{"inputs": [[%d, 2, 3`, i) }},
	{status: model.InvalidInput, value: func(i int) []byte { return fmt.Appendf(nil, `{"inputs": [[%d, 2]]}`, i) }},
	{status: model.InvalidInput, value: func(i int) []byte { return fmt.Appendf(nil, `{"inputs": [["%d", true, null, {}]]}`, i) }},
	{status: model.InvalidInput, value: func(int) []byte { return nil }},
	{status: model.UnsupportedMediaType, value: good, headers: []kgo.RecordHeader{{Key: wire.ContentType, Value: []byte("image/png")}}},
	{status: model.NotFound, value: good, headers: []kgo.RecordHeader{{Key: wire.Model, Value: []byte("nobody")}}},
	{status: model.DeadlineExceeded, value: good, headers: []kgo.RecordHeader{{Key: wire.ExpiryTime, Value: []byte(time.Unix(0, 0).UTC().Format(time.RFC3339))}}},
}

// row is a request's content. Its numbers and their sums are exact as float32,
// in whatever order they are added.
func row(i int) [4]float32 {
	x := float32(i)
	return [4]float32{x, x / 2, -x / 4, 7}
}

func good(i int) []byte {
	r := row(i)
	return fmt.Appendf(nil, `{"inputs": [[%v, %v, %v, %v]]}`, r[0], r[1], r[2], r[3])
}

// Of tells what request i is.
func (q Requests) Of(i int) Request {
	r := q.roll(i)
	req := Request{Number: i, Status: StatusOK, Reply: r>>32%8 == 0}
	if r%1000 < q.Poisoned {
		req.Status = string(poisons[r>>16%uint64(len(poisons))].status)
	}
	return req
}

// Record is request i for a partition.
func (q Requests) Record(i int, partition int32) *kgo.Record {
	req, r := q.Of(i), q.roll(i)
	rec := &kgo.Record{
		Topic: q.Topic, Partition: partition, Value: good(i),
		Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: strconv.AppendInt(nil, int64(i), 10)}},
	}
	if req.Status != StatusOK {
		p := poisons[r>>16%uint64(len(poisons))]
		rec.Value = p.value(i)
		rec.Headers = append(rec.Headers, p.headers...)
	}
	if req.Reply {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: wire.ReplyTopic, Value: []byte(q.Replies)})
	}
	return rec
}

// Check says what is wrong with the value of an answer to request i by a
// version of the model, which answers the row's sum and its own number.
func (q Requests) Check(i int, status, version string, value []byte) error {
	req := q.Of(i)
	if status != req.Status {
		return fmt.Errorf("status %q is not %q: %s", status, req.Status, value)
	}
	if req.Status != StatusOK {
		var e map[string]any
		if err := json.Unmarshal(value, &e); err != nil || len(e) == 0 {
			return fmt.Errorf("no error body: %q", value)
		}
		return nil
	}
	k, err := strconv.ParseFloat(version, 32)
	if err != nil {
		return fmt.Errorf("version %q", version)
	}
	var out struct {
		Predictions struct{ Y [][2]float32 }
	}
	if err := json.Unmarshal(value, &out); err != nil {
		return fmt.Errorf("%w: %s", err, value)
	}
	r := row(i)
	want := [2]float32{r[0] + r[1] + r[2] + r[3], float32(k)}
	if len(out.Predictions.Y) != 1 || out.Predictions.Y[0] != want {
		return fmt.Errorf("%s is not %v, what version %s answers", value, want, version)
	}
	return nil
}
