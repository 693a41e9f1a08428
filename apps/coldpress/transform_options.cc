#include "transform_options.h"

#include <string>

namespace coldpress::cli {
namespace {

void add_clip(CLI::App& verb, const std::string& name, LowBits& how, const std::string& help) {
  verb.add_option_function<std::string>(
          name,
          [name, &how](const std::string& text) {
            float share = 0;
            if (text == "search") {
              how.clip = kSearchClip;
            } else if (CLI::detail::lexical_cast(text, share) && share >= 0.1F && share <= 1.0F) {
              how.clip = share;
            } else {
              throw CLI::ValidationError(
                  name, "'" + text + "' is neither a share from 0.1 to 1 nor search");
            }
          },
          help)
      ->type_name("R")
      ->default_str("1");
}

}  // namespace

void add_transform_options(CLI::App& verb, TransformOptions& options) {
  verb.add_option_function<std::string>(
          "--transform",
          [&options](const std::string& text) {
            auto steps = parse_transform_steps(text);
            if (!steps.ok()) throw CLI::ValidationError("--transform", steps.status().message());
            options.steps = std::move(steps).value();
          },
          "Change the weights, in this order, so that rounding hurts less: such as r1,r2,r4")
      ->type_name("LIST");
  verb.add_option("--rotation-seed", options.seed, "Of the random rotations r1 to r4")
      ->capture_default_str();
}

void add_low_bit_options(CLI::App& verb, TransformOptions& options) {
  verb.add_option("--act-bits", options.activations.bits,
                  "Round what the linears read to so many bits, token by token (default: not)")
      ->check(CLI::Range(2, 8));
  verb.add_flag_function(
      "--act-asymmetric", [&options](int64_t) { options.activations.symmetric = false; },
      "Activations from minimum to maximum instead of around zero");
  add_clip(verb, "--act-clip", options.activations,
           "Shrink the range of activations to this share, or search: to each token's best");
  verb.add_option("--act-group", options.activations.group,
                  "Consecutive activations that share a scale; 0: all of a token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--kv-bits", options.kv.bits,
                  "Round keys and values to so many bits, head by head (default: not)")
      ->check(CLI::Range(2, 8));
  add_clip(verb, "--kv-clip", options.kv,
           "Shrink the range of keys and values to this share, or search: to each head's best");
  verb.add_option("--kv-group", options.kv.group,
                  "Consecutive values of a head that share a scale; 0: a whole head")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace coldpress::cli
