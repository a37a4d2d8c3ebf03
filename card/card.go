// Package card lets workers tell gateways what they serve, over a compacted topic: a
// record for each version of a model, keyed by both names. A worker writes its own when
// it begins to serve, and again and again, so that the cards of a pool that is gone age
// out. Every gateway reads all of the topic, without a group. Cards describe; what a
// request gets is the workers' word alone, and nothing waits for a card.
package card

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model"
)

// The pace: a card is written every Interval, and held to be of the past when the
// newest was written longer than MaxAge ago.
const (
	Interval = time.Minute
	MaxAge   = 3*Interval + 30*time.Second
)

// Tensor is an input or an output, as the Open Inference Protocol describes it: -1 is
// a variable dimension.
type Tensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// Signature is MLmodel's, each part the JSON that stands there; a part that was not
// logged is absent.
type Signature struct {
	Inputs  json.RawMessage `json:"inputs,omitempty"`
	Outputs json.RawMessage `json:"outputs,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
}

// Card is a version of a model that some worker serves.
type Card struct {
	Name      string          `json:"name"`
	Version   string          `json:"version"`
	Flavor    string          `json:"flavor"`
	Platform  string          `json:"platform"` // the Open Inference Protocol's word for the flavor
	Inputs    []Tensor        `json:"inputs"`
	Outputs   []Tensor        `json:"outputs"`
	Signature *Signature      `json:"signature,omitempty"`
	Example   json.RawMessage `json:"example,omitempty"` // a body that the model takes
	LoadedAt  time.Time       `json:"loaded_at"`
	Worker    string          `json:"worker,omitempty"` // whose host wrote the card

	Written time.Time `json:"-"` // when it was
}

// largestExample bounds what a card carries of an example, and largestCard all of it:
// well below what brokers take.
const (
	largestExample = 64 << 10
	largestCard    = 900_000
)

// Of describes a snapshot.
func Of(s *model.Snapshot, worker string) Card {
	c := Card{
		Name: s.Name, Version: s.Version, Flavor: s.Flavor, Platform: platform(s.Flavor),
		LoadedAt: s.Loaded.UTC(), Worker: worker, Signature: signature(s.Signature),
	}
	inputs, outputs := s.Codec.Tensors()
	c.Inputs, c.Outputs = tensors(inputs), tensors(outputs)
	c.Example = example(s)
	return c
}

// platform is <project>_<format>, as the protocol has it.
func platform(flavor string) string {
	if flavor == "onnx" {
		return "onnx_onnxv1"
	}
	return "mlflow_" + flavor
}

func tensors(specs []model.Spec) []Tensor {
	out := make([]Tensor, len(specs))
	for i := range specs {
		out[i] = Tensor{specs[i].Name, specs[i].DType.V2(), append([]int64{}, specs[i].Shape...)}
	}
	return out
}

// signature leaves out a part that is no strict JSON: a default may be NaN.
func signature(s *model.Signature) *Signature {
	if s == nil {
		return nil
	}
	part := func(text string) json.RawMessage {
		if !json.Valid([]byte(text)) || text == "null" {
			return nil
		}
		return json.RawMessage(text)
	}
	inputs, outputs, params := s.Texts()
	return &Signature{part(inputs), part(outputs), part(params)}
}

// example is the one that the model was logged with, or else one made up for it.
func example(s *model.Snapshot) json.RawMessage {
	for _, body := range [][]byte{s.Example, s.Codec.Example()} {
		if len(body) > 0 && len(body) <= largestExample && json.Valid(body) {
			return body
		}
	}
	return nil
}

// key tells versions apart. Names have no slash: MLflow takes none.
func (c *Card) key() string { return key(c.Name, c.Version) }

func key(name, version string) string { return name + "/" + version }

// record is the card for the topic. One that is too large loses what can be done
// without.
func (c *Card) record(topic string) (*kgo.Record, error) {
	small := *c
	for _, lose := range []func(){
		func() {}, func() { small.Example = nil }, func() { small.Signature = nil }, func() { small.Inputs, small.Outputs = nil, nil },
	} {
		lose()
		value, err := json.Marshal(&small)
		if err != nil {
			return nil, fmt.Errorf("card of %s: %w", c.key(), err)
		}
		if len(value) <= largestCard {
			return &kgo.Record{Topic: topic, Key: []byte(c.key()), Value: value}, nil
		}
	}
	return nil, fmt.Errorf("card of %s: larger than %d bytes", c.key(), largestCard)
}
