package oip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// FromJSON makes a ModelInferRequest of a body over HTTP: one of V2, or one of MLflow's
// (inputs, instances or dataframe_split), whose tensors get their names and types from
// what the model takes.
func FromJSON(body []byte, about *ModelMetadataResponse) (*ModelInferRequest, error) {
	var all struct {
		ID        string          `json:"id"`
		Inputs    json.RawMessage `json:"inputs"`
		Instances json.RawMessage `json:"instances"`
		Frame     *frame          `json:"dataframe_split"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	m := &ModelInferRequest{ModelName: about.GetName(), Id: all.ID}
	var err error
	switch {
	case bytes.Contains(all.Inputs, []byte(`"datatype"`)):
		err = m.takeV2(all.Inputs)
	case all.Frame != nil:
		err = m.takeFrame(all.Frame, about.GetInputs())
	case all.Inputs != nil:
		err = m.takeTensors(all.Inputs, about.GetInputs())
	case all.Instances != nil:
		err = m.takeTensors(all.Instances, about.GetInputs())
	default:
		err = errors.New("none of V2's inputs and MLflow's inputs, instances and dataframe_split")
	}
	return m, err
}

func (m *ModelInferRequest) add(name, datatype string, shape []int64, data json.RawMessage) error {
	raw, err := Raw(datatype, data)
	if err != nil {
		return fmt.Errorf("input %q: %w", name, err)
	}
	m.Inputs = append(m.Inputs, &ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape})
	m.RawInputContents = append(m.RawInputContents, raw)
	return nil
}

func (m *ModelInferRequest) takeV2(inputs json.RawMessage) error {
	var list []output
	if err := json.Unmarshal(inputs, &list); err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	for i := range list {
		if err := m.add(list[i].Name, list[i].Datatype, list[i].Shape, list[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// takeTensors takes named tensors, or the only one.
func (m *ModelInferRequest) takeTensors(data json.RawMessage, specs []*ModelMetadataResponse_TensorMetadata) error {
	named := map[string]json.RawMessage{}
	if json.Unmarshal(data, &named) != nil {
		if len(specs) != 1 {
			return fmt.Errorf("a list, where the model takes %d inputs by name", len(specs))
		}
		named[specs[0].GetName()] = data
	}
	for _, s := range specs {
		one, ok := named[s.GetName()]
		if !ok {
			return fmt.Errorf("input %q is missing", s.GetName())
		}
		shape, err := shapeOf(one)
		if err != nil {
			return fmt.Errorf("input %q: %w", s.GetName(), err)
		}
		if err := m.add(s.GetName(), s.GetDatatype(), shape, one); err != nil {
			return err
		}
	}
	return nil
}

// shapeOf is that of nested lists, by the first of each.
func shapeOf(data json.RawMessage) (shape []int64, err error) {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	for {
		list, ok := v.([]any)
		if !ok {
			return shape, nil
		}
		shape = append(shape, int64(len(list)))
		if len(list) == 0 {
			return shape, nil
		}
		v = list[0]
	}
}

type frame struct {
	Columns []string            `json:"columns"`
	Data    [][]json.RawMessage `json:"data"`
}

// takeFrame takes a data frame: its columns by name, or all of it as the only input.
func (m *ModelInferRequest) takeFrame(f *frame, specs []*ModelMetadataResponse_TensorMetadata) error {
	if len(specs) == 1 && !slices.Contains(f.Columns, specs[0].GetName()) {
		data, err := json.Marshal(f.Data)
		if err != nil {
			return err
		}
		return m.takeTensors(data, specs)
	}
	for _, s := range specs {
		k := slices.Index(f.Columns, s.GetName())
		if k < 0 {
			return fmt.Errorf("column %q is missing", s.GetName())
		}
		cells := make([]json.RawMessage, len(f.Data))
		for i, row := range f.Data {
			if k >= len(row) {
				return fmt.Errorf("row %d has %d cells", i, len(row))
			}
			cells[i] = row[k]
		}
		data, err := json.Marshal(cells)
		if err != nil {
			return err
		}
		shape := []int64{int64(len(cells))}
		if len(s.GetShape()) == 2 {
			shape = append(shape, 1)
		}
		if err := m.add(s.GetName(), s.GetDatatype(), shape, data); err != nil {
			return err
		}
	}
	return nil
}
