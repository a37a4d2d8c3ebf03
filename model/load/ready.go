package load

import (
	"context"
	"time"

	"github.com/millrace/millrace/model"
)

// Ready makes a snapshot of a model that is open already and comes from no
// folder: warm, and known to batch or not. Of o it takes all but the folder's
// parts; flavor is what the snapshot says it is. The snapshot owns m; when Ready
// fails, m is still the caller's.
func Ready(ctx context.Context, m model.Model, signature *model.Signature, flavor string, o Options) (*model.Snapshot, error) {
	codec, err := model.NewCodec(signature, m.Info(), o.Limits)
	if err != nil {
		return nil, err
	}
	if !m.Info().Raw { // such a one takes whole bodies, and nobody knows one to try
		if m, err = warm(ctx, m, nil, max(1, o.MaxBatch)); err != nil {
			return nil, err
		}
		if m.Info().Batches {
			m = &counted{m}
			if codec, err = model.NewCodec(signature, m.Info(), o.Limits); err != nil {
				return nil, err
			}
		}
	}
	return model.Open(&model.Snapshot{
		Name: o.Name, Version: o.Version, Identity: o.Identity, Source: o.Source,
		Flavor: flavor, Loaded: time.Now(), Signature: signature, Codec: codec, Model: m,
	}), nil
}

// counted holds the answers of a model that batches to having a row for each of
// the call's: what runs elsewhere may change its mind.
type counted struct{ model.Model }

func (c *counted) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	outputs, err := c.Model.Predict(ctx, inputs)
	if err != nil {
		return nil, err
	}
	for i := range outputs {
		if s := outputs[i].Shape; len(s) == 0 || s[0] != inputs[0].Shape[0] {
			return nil, model.Errorf(model.Failed, "output %q has shape %v for %d rows", outputs[i].Name, s, inputs[0].Shape[0])
		}
	}
	return outputs, nil
}
