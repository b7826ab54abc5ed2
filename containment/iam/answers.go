package iam

import (
	"reflect"

	metadata "github.com/aws/smithy-go/middleware"
)

// done is what is told with an answer. The SDK's outputs share no interface for it.
func done[O any](out *O, err error) (metadata.Metadata, error) {
	if err != nil || out == nil {
		return metadata.Metadata{}, err
	}
	md, _ := reflect.ValueOf(out).Elem().FieldByName("ResultMetadata").Interface().(metadata.Metadata)
	return md, nil
}

// unset is done for a call that removes: what is not there is removed.
func unset[O any](out *O, err error) (metadata.Metadata, error) {
	if missing(err) {
		return metadata.Metadata{}, nil
	}
	return done(out, err)
}
