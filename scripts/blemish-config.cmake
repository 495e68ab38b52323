# find_package(blemish): blemish::shared, and blemish::blemish, the static library with what it needs.
include(CMakeFindDependencyMacro)
find_dependency(PkgConfig)
find_dependency(ZLIB)
pkg_check_modules(JANSSON REQUIRED QUIET IMPORTED_TARGET jansson)
pkg_check_modules(UTF8PROC REQUIRED QUIET IMPORTED_TARGET libutf8proc)
include(${CMAKE_CURRENT_LIST_DIR}/blemish-targets.cmake)
