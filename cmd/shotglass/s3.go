package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const groupS3 = "Amazon S3"

// s3AccessFlags say how a bucket is reached; reading needs no others.
func s3AccessFlags() []cli.Flag {
	str := func(name, envName, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: env(envName), Usage: usage, Category: groupS3}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "s3-region", EnvVars: env("S3_REGION"), Usage: "`REGION` of the bucket", Category: groupS3, DefaultText: "asked of the bucket"},
		str("s3-profile", "S3_PROFILE", "`NAME` of the profile in ~/.aws"),
		str("s3-endpoint", "S3_ENDPOINT", "another server than AWS: `URL`"),
		&cli.BoolFlag{Name: "s3-path-style", EnvVars: env("S3_PATH_STYLE"), Usage: "name the bucket in the path, as most other servers want", Category: groupS3, DisableDefaultText: true},
		&cli.BoolFlag{Name: "s3-insecure-http", Usage: "take an endpoint without TLS on another machine: anybody in between can read and forge the evidence", Category: groupS3, DisableDefaultText: true},
		str("s3-role-arn", "S3_ROLE_ARN", "role to assume: `ARN`"),
		str("s3-external-id", "S3_EXTERNAL_ID", "external `ID` for that role"),
		str("s3-bucket-owner", "S3_BUCKET_OWNER", "`ACCOUNT` that must own the bucket"),
	}
}

// s3StoreFlags say under what terms evidence is stored.
func s3StoreFlags() []cli.Flag {
	str := func(name, envName, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: env(envName), Usage: usage, Category: groupS3}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "spill", EnvVars: env("SPILL"), Usage: "when the bucket fails in the middle of a capture, go on in this folder: `DIR`; shotglass upload finishes it", Category: groupS3, TakesFile: true},
		&cli.StringFlag{Name: "s3-segment-size", EnvVars: env("S3_SEGMENT_SIZE"), Usage: "store an image that is larger as several objects of this `SIZE`", Category: groupS3, DefaultText: "512GiB"},
		str("s3-kms-key", "S3_KMS_KEY", "encrypt with SSE-KMS under this `KEY`: ARN, id or alias"),
		str("s3-storage-class", "S3_STORAGE_CLASS", "storage `CLASS` of images, such as STANDARD_IA"),
		&cli.StringSliceFlag{Name: "s3-tag", EnvVars: env("S3_TAG"), Usage: "tag every object: `KEY=VALUE`", Category: groupS3},
		str("s3-lock", "S3_LOCK", "lock every object: `governance|compliance`; needs --s3-retain"),
		str("s3-retain", "S3_RETAIN", "lock for this `TIME`, such as 90d or 720h, or until this date, such as 2031-01-31"),
		&cli.BoolFlag{Name: "s3-legal-hold", EnvVars: env("S3_LEGAL_HOLD"), Usage: "put a legal hold on every object", Category: groupS3, DisableDefaultText: true},
	}
}

// s3Access reads the flags of s3AccessFlags.
func s3Access(ctx *cli.Context) s3.Options {
	return s3.Options{
		Region: ctx.String("s3-region"), Profile: ctx.String("s3-profile"), Endpoint: ctx.String("s3-endpoint"),
		PathStyle: ctx.Bool("s3-path-style"), InsecureHTTP: ctx.Bool("s3-insecure-http"),
		RoleARN: ctx.String("s3-role-arn"), ExternalID: ctx.String("s3-external-id"), BucketOwner: ctx.String("s3-bucket-owner"),
	}
}

// readSink returns the place for the evidence of hosts that have none of their own.
func (o *captureOptions) readSink(c *console, ctx *cli.Context, file *hostsfile.File) (sink.Sink, error) {
	to, flag := ctx.String("to"), "--to"
	switch {
	case to != "" && ctx.IsSet("output"):
		return nil, usagef("--to and --output exclude each other").fix("unset SHOTGLASS_OUTPUT or SHOTGLASS_TO, or name one place")
	case to != "":
	case file.AWS.Bucket != "" && !ctx.IsSet("output"):
		to, flag = "s3://"+file.AWS.Bucket+"/"+file.AWS.Prefix, "aws.bucket"
		o.Engine.Settings = setSetting(o.Engine.Settings, "to", to, "file "+file.Path)
	default:
		to, flag = ctx.String("output"), "--output"
	}
	if flag == "--output" && s3.IsURL(to) {
		return nil, usagef("--output is for folders").fix("--to %s", to)
	}
	// A host of the file may have a place in S3 of its own, unless a flag names one for all.
	buckets := s3.IsURL(to)
	for _, h := range file.Merged() {
		buckets = buckets || s3.IsURL(h.Output) && !ctx.IsSet("to") && !ctx.IsSet("output")
	}
	if buckets {
		if err := o.readBucket(c, ctx, file); err != nil {
			return nil, err
		}
	} else if given := givenStoreFlags(ctx); given != "" {
		return nil, usagef("--%s is for evidence in S3, and that goes to the folder %q", given, to).fix("--to s3://bucket/prefix/")
	}
	if !s3.IsURL(to) {
		if strings.Contains(to, "://") {
			return nil, usagef("%s %q: want a folder or s3://bucket/prefix/", flag, to)
		}
		disk, err := sink.NewDisk(to)
		if err != nil {
			return nil, usagef("%s: %v", flag, err)
		}
		return disk, nil
	}
	s, err := o.bucket(to)
	if err != nil {
		return nil, usagef("%s: %v", flag, err)
	}
	return s, nil
}

// readBucket reads how buckets are reached and under what terms evidence is stored.
func (o *captureOptions) readBucket(c *console, ctx *cli.Context, file *hostsfile.File) error {
	if err := o.fromAWS(ctx, file); err != nil {
		return err
	}
	terms, err := s3Store(ctx)
	if err != nil {
		return err
	}
	if terms.Spill = ctx.String("spill"); terms.Spill != "" {
		if info, err := os.Stat(terms.Spill); err == nil && !info.IsDir() {
			return usagef("--spill: %s is not a folder", terms.Spill)
		}
	}
	terms.Warn = func(text string) { c.warn("%s", text) }
	o.terms = terms
	o.bucket = func(url string) (_ sink.Sink, err error) {
		t := o.terms
		if t.Bucket, t.Prefix, err = s3.ParseURL(url); err != nil {
			return nil, err
		}
		return s3.New(ctx.Context, t)
	}
	return nil
}

// fromAWS sets the flags that nobody gave to what the hosts file says in its section aws.
func (o *captureOptions) fromAWS(ctx *cli.Context, file *hostsfile.File) error {
	a := file.AWS
	values := map[string][]string{
		"spill": {a.Spill}, "s3-region": {a.Region}, "s3-profile": {a.Profile}, "s3-endpoint": {a.Endpoint},
		"s3-role-arn": {a.RoleARN}, "s3-external-id": {a.ExternalID}, "s3-bucket-owner": {a.BucketOwner},
		"s3-kms-key": {a.KMSKey}, "s3-storage-class": {a.StorageClass}, "s3-lock": {a.Lock}, "s3-retain": {a.Retain},
	}
	for _, k := range slices.Sorted(maps.Keys(a.Tags)) {
		values["s3-tag"] = append(values["s3-tag"], k+"="+a.Tags[k])
	}
	if a.PathStyle {
		values["s3-path-style"] = []string{"true"}
	}
	if a.LegalHold {
		values["s3-legal-hold"] = []string{"true"}
	}
	// A lock is one thing, in two flags.
	if ctx.IsSet("s3-lock") || ctx.IsSet("s3-retain") {
		delete(values, "s3-lock")
		delete(values, "s3-retain")
	}
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		if ctx.IsSet(flag) {
			continue
		}
		for _, v := range values[flag] {
			if v == "" {
				continue
			}
			if err := ctx.Set(flag, v); err != nil {
				return usagef("--%s: %v", flag, err)
			}
			o.Engine.Settings = setSetting(o.Engine.Settings, flag, strings.Join(values[flag], "\n"), "file "+file.Path)
		}
	}
	return nil
}

func givenStoreFlags(ctx *cli.Context) string {
	for _, f := range s3StoreFlags() {
		if name := f.Names()[0]; ctx.IsSet(name) {
			return name
		}
	}
	return ""
}

// s3Store reads all flags.
func s3Store(ctx *cli.Context) (o s3.Options, err error) {
	o = s3Access(ctx)
	o.KMSKey, o.BucketKey = ctx.String("s3-kms-key"), true
	o.StorageClass, o.LegalHold = ctx.String("s3-storage-class"), ctx.Bool("s3-legal-hold")
	for _, tag := range ctx.StringSlice("s3-tag") {
		k, v, ok := strings.Cut(tag, "=")
		if !ok || k == "" {
			return o, usagef("--s3-tag %q: want KEY=VALUE", tag)
		}
		if _, twice := o.Tags[k]; twice {
			return o, usagef("--s3-tag %q: the key is given twice", tag)
		}
		if o.Tags == nil {
			o.Tags = map[string]string{}
		}
		o.Tags[k] = v
	}
	if size := ctx.String("s3-segment-size"); size != "" {
		if o.SegmentSize, err = parseSize(size); err != nil {
			return o, usagef("--s3-segment-size: %v", err)
		}
	}
	lock, retain := ctx.String("s3-lock"), ctx.String("s3-retain")
	switch {
	case (lock == "") != (retain == ""):
		return o, usagef("--s3-lock and --s3-retain go together")
	case lock != "" && !slices.Contains(hostsfile.Locks, lock):
		return o, usagef("--s3-lock %q: want governance or compliance", lock)
	case lock != "":
		o.LockMode = strings.ToUpper(lock)
		if o.RetainFor, o.RetainUntil, err = hostsfile.ParseRetain(retain, time.Now()); err != nil {
			return o, usagef("--s3-retain %q: %v", retain, err)
		}
	}
	return o, nil
}

// place takes the name of a file or an object apart: where it lies and what it is called there.
func place(ctx context.Context, name string, access s3.Options) (sink.Opener, string, error) {
	if !s3.IsURL(name) {
		disk, err := sink.NewDisk(filepath.Dir(name))
		return disk, filepath.Base(name), err
	}
	bucket, prefix, base, err := s3.ParseObjectURL(name)
	if err != nil {
		return nil, "", err
	}
	access.Bucket, access.Prefix = bucket, prefix
	s, err := s3.New(ctx, access)
	if err != nil {
		return nil, "", fmt.Errorf("S3: %w", err)
	}
	return s, base, nil
}
