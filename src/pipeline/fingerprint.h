// What decides the bytes of an output, field by field: to tell whether two runs are the same run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "calibration/windows.h"
#include "model/model.h"
#include "pipeline/recipe.h"

namespace coldpress {

class Fingerprint {
 public:
  void add(std::string field, std::string value);
  // A field for each value in it, by its path: "recipe /grid/bits".
  void add_json(const std::string& field, const Json& json);
  // Content and name of every file that the model is read from; `out` is not one of them, even if
  // it lies among them.
  Status add_model(const Model& model, const std::filesystem::path& out);
  void add_windows(const CalibrationWindows& windows);

  // The first field that differs, with both values where they are short; empty: none does.
  std::string difference(const Fingerprint& now) const;

  std::string text() const;
  static Result<Fingerprint> parse(const std::string& text, const std::string& where);

 private:
  const std::string* find(const std::string& field) const;

  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace coldpress
